package table

// NextHop says where mail for a domain goes.
type NextHop struct {
	MX   bool   // look for the MX records of Host; else connect to Host itself
	Host string // a domain, a host name or an IP address without brackets
	Port int    // 0 = the default port
}

// Routes is the routes table: first match wins.
type Routes struct{ rules []rule }

type rule struct {
	pattern string
	hop     NextHop
}

// ParseRoutes reads the lines of the control file routes.
func ParseRoutes(lines []string) (Routes, error) { panic("not written yet") }

// For returns the next hop for a recipient domain. Without a matching rule it
// is the normal search for MX records; an address literal is its own host.
func (r Routes) For(domain string) NextHop { panic("not written yet") }
