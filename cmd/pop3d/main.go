// Command pop3d is a POP3 server over Maildirs, see pop3d(8).
package main

import (
	"os"

	"peyk/internal/pop3d"
)

func main() { os.Exit(pop3d.Main(os.Args)) }
