module github.com/springtide/springtide/bench/scale

go 1.26.0

replace github.com/springtide/springtide => ../..

require github.com/springtide/springtide v0.0.0

require github.com/goccy/go-yaml v1.19.2 // indirect
