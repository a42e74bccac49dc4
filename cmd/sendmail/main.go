// Sendmail queues the message on its standard input. It is mailq and
// newaliases too. See sendmail(1).
package main

import (
	"os"

	"peyk/internal/sendmail"
)

func main() { os.Exit(sendmail.Main(os.Args)) }
