// Package service runs the servers that keep an app's state: it makes, starts,
// adopts, watches, replicates and promotes them, whatever their kind. What
// depends on the kind is a [Driver]'s.
package service
