"""The real OA, the real broker, the real database and the real ERP."""
