"""What tests stand on: servers that are found or started, proxies, waiting, the real OA and the real ERP."""
