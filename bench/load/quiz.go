package load

// QuizMix is a mix of requests for examples/quiz: mostly quick pages and work
// that takes its time, over all kinds of connections.
func QuizMix() []Kind {
	const work = "/work?ms=100"
	return []Kind{
		{Name: "page", Weight: 24, Path: "/quizzes/tides", Connection: Multiplexed, Digest: true, Identity: true},
		{Name: "list", Weight: 12, Path: "/", Digest: true, Identity: true},
		{Name: "version", Weight: 12, Path: "/version", Digest: true, Token: true, Identity: true},
		{Name: "work", Weight: 60, Path: work, Digest: true, Token: true, Identity: true},
		{Name: "work over h2", Weight: 60, Path: work, Connection: Multiplexed, Digest: true, Token: true, Identity: true},
		{Name: "slow", Weight: 1, Path: "/slow?ms=1000", Digest: true, Token: true, Identity: true},
		{Name: "download", Weight: 12, Path: "/download?bytes=65536", Length: 65536, Digest: true},
		{Name: "upload", Weight: 14, Method: "POST", Path: "/echo", Upload: 4096, Digest: true, Token: true, Identity: true},
		{Name: "fresh connection", Weight: 5, Path: "/version", Connection: Fresh, Digest: true, Token: true, Identity: true},
	}
}
