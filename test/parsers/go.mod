module github.com/springtide/springtide/test/parsers

go 1.26.0

require (
	github.com/springtide/springtide v0.0.0
	github.com/valyala/fasthttp v1.73.0
)

require (
	github.com/andybalholm/brotli v1.2.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
)

replace github.com/springtide/springtide => ../..
