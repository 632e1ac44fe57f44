"""HallusionBench: yes-or-no questions on images that deceive."""
