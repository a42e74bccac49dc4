// Deliver puts mail into mailboxes. See deliver(8).
package main

import (
	"os"

	"peyk/internal/deliver"
)

func main() { os.Exit(deliver.Main(os.Args)) }
