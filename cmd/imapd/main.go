// Command imapd is the IMAP server: imapd(8).
package main

import (
	"os"

	"peyk/internal/imapd"
)

func main() { os.Exit(imapd.Main(os.Args)) }
