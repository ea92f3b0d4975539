// Package gridserver is a server on loopback that answers as providers of intensities do: as
// Energy-Charts and the Carbon Intensity API of Great Britain, which need no key, and as Electricity
// Maps, which needs one. The values are the caller's own, for any zone and any time.
//
// Gridlatch's own clients ask the server: [Server.EnergyCharts] and its like are base URLs for
// spec.forecast.provider.baseURL of a CarbonPolicy, and [Server.Proxy] answers for the public hosts. A
// [Failure] makes the server fail as the real ones do.
package gridserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// An Intensity tells the intensity of a zone in gCO2eq/kWh from an instant on, or NaN if nobody knows;
// ok is false for a zone that does not exist. Zones are in capitals.
type Intensity func(zone string, at time.Time) (value float64, ok bool)

// A Plan is what a customer of Electricity Maps has paid for.
type Plan string

// The plans.
const (
	PlanWithForecast Plan = "" // everything
	PlanOfHistory    Plan = "history"
	PlanOfLatest     Plan = "latest"
)

// A Behaviour is how a server answers.
type Behaviour struct {
	Intensity Intensity
	// Boundaries are further instants at which slots begin, ascending. Without them, slots are a quarter
	// of an hour long, or an hour long at Electricity Maps.
	Boundaries []time.Time
	// Keys are accepted by Electricity Maps.
	Keys []string
	// Plan is the plan of all keys.
	Plan Plan
	// Failure answers instead of the server, if it is set.
	Failure Failure
}

// A Request is what a server was asked.
type Request struct {
	At        time.Time
	Path      string
	Query     url.Values
	Key       string
	UserAgent string
	// Status is what the server answered; 0 if it broke the connection.
	Status int
}

// A Server answers until it is closed. It is safe for concurrent use.
type Server struct {
	// URL is the address of the server, without a slash at the end.
	URL string

	http *http.Server
	now  func() time.Time

	mu        sync.Mutex
	behaviour Behaviour
	requests  []Request
	proxy     []*http.Server
}

// Start starts a server on a port of its own. now is the clock by which the past ends and a forecast
// begins.
func Start(b Behaviour, now func() time.Time) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the provider's server: %w", err)
	}
	s := &Server{URL: "http://" + listener.Addr().String(), now: now, behaviour: b}
	routes := http.NewServeMux()
	routes.HandleFunc("GET "+energyChartsPath+"/co2eq", s.energyCharts)
	routes.HandleFunc("GET "+electricityMapsPath+"/carbon-intensity/{what}", s.electricityMaps)
	routes.HandleFunc("GET "+ukPath+"/intensity/{from}/{to}", s.ukCarbonIntensity)
	s.http = &http.Server{Handler: s.recorded(routes), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(listener) }() // it ends when the server is closed
	return s, nil
}

// Close ends the server, and all connections to it.
func (s *Server) Close() error {
	s.mu.Lock()
	servers := append([]*http.Server{s.http}, s.proxy...)
	s.mu.Unlock()
	var failed []error
	for _, server := range servers {
		if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			failed = append(failed, fmt.Errorf("end the provider's server: %w", err))
		}
	}
	return errors.Join(failed...)
}

// EnergyCharts returns the base URL at which the server answers as Energy-Charts.
func (s *Server) EnergyCharts() string { return s.URL + energyChartsPath }

// ElectricityMaps returns the base URL at which the server answers as Electricity Maps.
func (s *Server) ElectricityMaps() string { return s.URL + electricityMapsPath }

// Change changes how the server answers from now on.
func (s *Server) Change(change func(*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.behaviour)
}

// Requests returns all requests, the oldest first, for which all conditions hold.
func (s *Server) Requests(conditions ...func(Request) bool) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Request
requests:
	for _, r := range s.requests {
		for _, holds := range conditions {
			if !holds(r) {
				continue requests
			}
		}
		found = append(found, r)
	}
	return found
}

// OfZone holds for the requests about a zone.
func OfZone(zone string) func(Request) bool {
	return func(r Request) bool {
		return strings.EqualFold(r.Query.Get("country"), zone) || strings.EqualFold(r.Query.Get("zone"), zone)
	}
}

// AtPath holds for the requests whose path has a part.
func AtPath(part string) func(Request) bool {
	return func(r Request) bool { return strings.Contains(r.Path, part) }
}

func (s *Server) now15() time.Time { return s.now().UTC().Truncate(quarter) }

func (s *Server) current() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// recorded notes each request and its status, and fails if the server is to fail.
func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		index := len(s.requests)
		s.requests = append(s.requests, Request{
			At: s.now(), Path: r.URL.Path, Query: r.URL.Query(), Key: r.Header.Get("Auth-Token"), UserAgent: r.UserAgent(),
		})
		failure := s.behaviour.Failure
		s.mu.Unlock()
		observed := &statusWriter{ResponseWriter: w}
		if failure == nil || !failure(observed, r) {
			next.ServeHTTP(observed, r)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests[index].Status = observed.status
	})
}

// A statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader is for package http.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write is for package http.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// answer writes a document with an ETag, or nothing if the client has that document already.
func answer(w http.ResponseWriter, r *http.Request, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// refuse writes an error as the providers do.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "message": message}) // the client may have gone
}

// wait waits, or ends early if the client is gone.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
