package serving

import (
	"net/http"
	"time"
)

// NewServer returns a server that bounds what a caller can take, and for how long.
func NewServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler: handler, Protocols: new(http.Protocols), MaxHeaderBytes: 16 << 10,
		// The API server waits for 3 s by our configuration, kube-scheduler for 0.5 s,
		// and Prometheus for 10 s. The first also bounds a TLS handshake.
		ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, // the clients of Kubernetes close idle connections after 90 s
	}
	server.Protocols.SetHTTP1(true)
	return server
}
