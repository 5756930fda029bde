"""MQTT: sessions that confirm by hand, and what is published."""
