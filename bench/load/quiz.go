package load

// QuizMix is a mix of requests for examples/quiz: mostly quick pages and work
// that takes its time, over all kinds of connections.
func QuizMix() []Kind {
	return []Kind{
		{Name: "page", Weight: 20, Path: "/quizzes/tides", Connection: Multiplexed, Digest: true, Identity: true},
		{Name: "list", Weight: 10, Path: "/", Digest: true, Identity: true},
		{Name: "version", Weight: 10, Path: "/version", Digest: true, Token: true, Identity: true},
		{Name: "work", Weight: 25, Path: "/work?ms=50", Digest: true, Token: true, Identity: true},
		{Name: "work over h2", Weight: 20, Path: "/work?ms=50", Connection: Multiplexed, Digest: true, Token: true, Identity: true},
		{Name: "slow", Weight: 3, Path: "/slow?ms=1000", Digest: true, Token: true, Identity: true},
		{Name: "download", Weight: 5, Path: "/download?bytes=65536", Length: 65536, Digest: true},
		{Name: "upload", Weight: 5, Method: "POST", Path: "/echo", Upload: 4096, Digest: true, Token: true, Identity: true},
		{Name: "fresh connection", Weight: 2, Path: "/version", Connection: Fresh, Digest: true, Token: true, Identity: true},
	}
}
