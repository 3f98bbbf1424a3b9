package ledger

import "context"

const workerLocation = "TEST_LEDGER_WORKER"

func workForEver(context.Context, string) error { return nil }
