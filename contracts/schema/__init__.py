"""The contracts as files for other languages: JSON Schema per event type, one XSD, one AsyncAPI document, generated and committed."""
