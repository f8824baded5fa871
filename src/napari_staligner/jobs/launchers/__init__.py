"""Where a job can be computed: a module for each, which starts ``job run`` there."""
