package gridserver

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// publicHosts are the hosts that the server stands in for, with the path of each.
func publicHosts() map[string]string {
	return map[string]string{
		"api.energy-charts.info": energyChartsPath, "api.carbonintensity.org.uk": ukPath, "api.electricitymaps.com": "/electricity-maps",
	}
}

// Hosts returns the public hosts of the providers, for the certificate of [Server.Proxy].
func Hosts() []string {
	hosts := []string{}
	for host := range publicHosts() {
		hosts = append(hosts, host)
	}
	return hosts
}

// Proxy starts a proxy for HTTPS, as companies have: it answers in place of the public hosts of the
// providers, with a certificate of its own, and lets nothing else through. Clients trust the
// certificate as their CA, and are told of the proxy by HTTPS_PROXY. The proxy ends with the server.
func (s *Server) Proxy(certificate tls.Certificate) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start a proxy: %w", err)
	}
	inner := &connections{queue: make(chan net.Conn), closed: make(chan struct{})}
	hosts := s.http.Handler
	behind := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := publicHosts()[r.Host]
		if !ok {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		r.URL.Path = path + r.URL.Path
		hosts.ServeHTTP(w, r)
	})}
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "for HTTPS only", http.StatusMethodNotAllowed)
			return
		}
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if _, err := fmt.Fprint(connection, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			_ = connection.Close() // the client has gone
			return
		}
		inner.add(tls.Server(connection, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}))
	})}
	go func() { _ = behind.Serve(inner) }() // both end when they are closed
	go func() { _ = front.Serve(listener) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxy = append(s.proxy, front, behind)
	return "http://" + listener.Addr().String(), nil
}

// connections is a listener for connections that are there already.
type connections struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// add hands a connection to whoever accepts the next.
func (c *connections) add(connection net.Conn) {
	select {
	case c.queue <- connection:
	case <-c.closed:
		_ = connection.Close() // nobody is left
	}
}

// Accept implements [net.Listener].
func (c *connections) Accept() (net.Conn, error) {
	select {
	case connection := <-c.queue:
		return connection, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (c *connections) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// Addr implements [net.Listener].
func (c *connections) Addr() net.Addr { return &net.TCPAddr{} }
