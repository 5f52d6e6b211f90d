"""The embedded MQTT broker: amqtt, with who may log in and what each may say and hear."""
