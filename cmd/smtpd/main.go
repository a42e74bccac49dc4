// Smtpd receives mail. See smtpd(8).
package main

import (
	"os"

	"peyk/internal/smtpd"
)

func main() { os.Exit(smtpd.Main(os.Args)) }
