// Package backlog reads how many messages wait in queues that the platform does
// not keep itself.
//
//	redis   LLEN of each list; messages under way: LLEN of a list of them, if there is one
//	celery  LLEN of the list of each priority of each queue; under way: HLEN of "unacked"
//	sqs     GetQueueAttributes: visible, and not visible
//	http    a number in a JSON document
//
// What is read belongs to somebody else: nothing is written, and each look is one
// short exchange that ends within its context.
package backlog
