// Auth-remote asks others who may log in. See auth-remote(8).
package main

import (
	"os"

	"peyk/internal/authremote"
)

func main() { os.Exit(authremote.Main(os.Args)) }
