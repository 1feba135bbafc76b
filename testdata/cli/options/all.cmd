kubectl options
