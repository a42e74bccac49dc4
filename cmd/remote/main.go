// Remote relays mail to other hosts. See remote(8).
package main

import (
	"os"

	"peyk/internal/remote"
)

func main() { os.Exit(remote.Main(os.Args)) }
