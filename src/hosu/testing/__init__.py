"""Contract suites, clocks and faulty disks for the tests of hosu and of those who build on it."""
