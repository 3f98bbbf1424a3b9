package backup

// DrillOptions are what drills need.
type DrillOptions struct{}
