package main

// aCase is one way in which every subject is loaded.
type aCase struct {
	Name, What string
	// path is what is asked for; its name is the length of the answer in KiB.
	path   string
	secure bool
	http2  bool
	// cached: the subject answers by itself, the origin is asked once.
	cached bool
	// steady: 1,000 requests a second whatever happens, instead of as many as can be.
	steady bool
}

func cases() []aCase {
	return []aCase{
		{Name: "a", What: "HTTP/1.1, 1 KiB, 64 connections", path: "/1"},
		{Name: "b", What: "the same over TLS 1.3", path: "/1", secure: true},
		{Name: "c", What: "HTTP/2 over TLS, 8 connections x 16 streams, 1 KiB", path: "/1", secure: true, http2: true},
		{Name: "d", What: "HTTP/1.1, 100 KiB, 64 connections", path: "/100"},
		{Name: "dt", What: "the same over TLS 1.3", path: "/100", secure: true},
		{Name: "e", What: "cache hit of 10 KiB, HTTP/1.1, 64 connections", path: "/10", cached: true},
		{Name: "f", What: "cache hit of 10 KiB, HTTP/2, 8 connections x 16 streams", path: "/10", secure: true, http2: true, cached: true},
		{Name: "g", What: "1,000 requests a second, HTTP/1.1, 1 KiB, 64 connections", path: "/1", steady: true},
	}
}
