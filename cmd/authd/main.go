// Command authd answers who may log in and who exists, see authd(8).
package main

import (
	"os"

	"peyk/internal/authd"
)

func main() { os.Exit(authd.Main(os.Args)) }
