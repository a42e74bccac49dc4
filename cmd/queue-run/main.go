// Queue-run owns the queue: it schedules, routes, retries and returns mail.
// See queue-run(8).
package main

import (
	"os"

	"peyk/internal/queuerun"
)

func main() { os.Exit(queuerun.Main(os.Args)) }
