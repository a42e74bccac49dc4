// Mailctl looks at and changes everything in Peyk. See mailctl(8).
package main

import (
	"os"

	"peyk/internal/mailctl"
)

func main() { os.Exit(mailctl.Main(os.Args)) }
