"""Every way in and out. The only place that knows the clock, the configuration and which store is in use."""
