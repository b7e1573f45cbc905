"""Files of others' making: CSV, YAML."""
