package daemon

import (
	"net"
	"os"
)

// notify tells the service manager something (sd_notify(3)). Without one, or
// when it does not listen, nothing happens.
func notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}
