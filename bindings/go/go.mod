module smallmind

go 1.24
