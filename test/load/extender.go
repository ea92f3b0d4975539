package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	region       = "topology.kubernetes.io/region"
	extendRounds = 9
	extendCalls  = 500
	extendWarm   = 50 // before them, not counted
)

// regions are grid locations, and the labels of the nodes that are there.
var regions = []string{"west", "north", "east"}

// extendedRig has Gridlatch answer a scheduler, with a policy for the three regions and a forecast by which work starts
// at once.
func extendedRig(ctx context.Context, nodes int, flags ...string) (r *rig, x *env.Extender, err error) {
	r, err = newRig(ctx, env.Nodes(nodes), env.NodeLabels(region+"=west:north:east"))
	if err != nil {
		return nil, nil, err
	}
	if x, err = r.extend(ctx, flags); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	return r, x, nil
}

func (r *rig) extend(ctx context.Context, flags []string) (*env.Extender, error) {
	x, err := env.NewExtender(r.dir)
	if err != nil {
		return nil, err
	}
	if err := r.cluster.GiveCA(ctx, x); err != nil {
		return nil, err
	}
	if r.controller, err = r.cluster.RunGridlatch(ctx, filepath.Join(r.dir, "gridlatch.log"), append(flags, x.Flag())...); err != nil {
		return nil, err
	}
	p := v1alpha1.Default()
	p.Spec.Locations = nil
	var elements []env.Element
	for i, name := range regions {
		p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: name, NodeSelector: map[string]string{region: name}})
		for _, e := range rising(time.Now()) {
			e.Location, e.Value = name, e.Value+float64(i)*50
			elements = append(elements, e)
		}
	}
	if err := v1alpha1.AddToScheme(r.cluster.Client.Scheme()); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	if err := r.cluster.Client.Create(ctx, p); err != nil {
		return nil, fmt.Errorf("create policy: %w", err)
	}
	return x, r.cluster.Forecast(ctx, elements...)
}

// measureExtender calls the program as kube-scheduler does: names only, one call after the other, over one connection.
// Once Gridlatch knows the nodes the cluster is stopped, whose simulated nodes would take up the machine: what the
// calls need is in its caches.
func measureExtender(ctx context.Context) (values []float64, err error) {
	sizes := []int{100, 1000, 5000}
	r, x, err := extendedRig(ctx, len(regions), "--leader-elect=false")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	scheduler, err := newCaller(x)
	if err != nil {
		return nil, err
	}
	log.Printf("creating %d nodes", slices.Max(sizes))
	names, err := r.addNodes(ctx, slices.Max(sizes))
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, patience, func(ctx context.Context) error { return scheduler.knows(ctx, names) }); err != nil {
		return nil, err
	}
	if err := r.cluster.Stop(); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		scored, hop, err := scheduler.compare(ctx, x, names[:n])
		if err != nil {
			return nil, err
		}
		log.Printf("scoring %d nodes: %s; the hop alone: %s", n, scored, hop)
		values = append(values, milliseconds(scored.median), milliseconds(scored.high), milliseconds(hop.high))
	}
	return values, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// addNodes makes nodes until there are as many, named and dealt out to the regions like those that there are.
func (r *rig) addNodes(ctx context.Context, n int) ([]string, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("node-", i)
	}
	return names, parallel(ctx, n-len(regions), func(ctx context.Context, i int) error {
		i += len(regions)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: names[i], Labels: map[string]string{region: regions[i%len(regions)]}}}
		_, err := r.clientset.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		return err
	})
}

// A caller calls the extender over HTTPS.
type caller struct {
	client *http.Client
	url    string
	answer bytes.Buffer // the last one; to make one anew for each call would have the time to collect them measured
}

func newCaller(x *env.Extender) (*caller, error) {
	ca, err := os.ReadFile(filepath.Join(x.Dir, "tls.crt"))
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: env.ExtenderHost}}
	url := "https://127.0.0.1:" + strconv.Itoa(x.Port) + extender.PrioritizePath
	return &caller{client: &http.Client{Transport: transport, Timeout: patience}, url: url}, nil
}

// latency is what calls take: the median, and the 99th percentile.
type latency struct{ median, high time.Duration }

func (l latency) String() string {
	return fmt.Sprintf("median %s, 99th percentile %s", l.median, l.high)
}

// compare has nodes scored, in turn with a server that gives the same answer without a look at what it is asked, and
// returns the medians of the rounds: what else the machine does disturbs some of them.
func (c *caller) compare(ctx context.Context, x *env.Extender, names []string) (scored, hop latency, err error) {
	body, err := askAbout(names)
	if err != nil {
		return scored, hop, err
	}
	answer, err := c.call(ctx, body)
	if err != nil {
		return scored, hop, err
	}
	bare, err := serveBare(x, slices.Clone(answer))
	if err != nil {
		return scored, hop, err
	}
	defer bare.Close()
	to := &caller{client: c.client, url: "https://" + bare.Addr}
	var all, none []latency
	for range extendRounds {
		for _, side := range []struct {
			*caller
			rounds *[]latency
		}{{c, &all}, {to, &none}} {
			l, err := side.round(ctx, body)
			if err != nil {
				return scored, hop, err
			}
			*side.rounds = append(*side.rounds, l)
		}
	}
	return middle(all), middle(none), nil
}

// middle returns the median of medians and that of high percentiles.
func middle(rounds []latency) latency {
	of := func(which func(latency) time.Duration) time.Duration {
		var all []time.Duration
		for _, l := range rounds {
			all = append(all, which(l))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return latency{of(func(l latency) time.Duration { return l.median }), of(func(l latency) time.Duration { return l.high })}
}

// round makes calls one after the other.
func (c *caller) round(ctx context.Context, body []byte) (latency, error) {
	took := make([]time.Duration, 0, extendWarm+extendCalls)
	for range cap(took) {
		started := time.Now()
		if _, err := c.call(ctx, body); err != nil {
			return latency{}, err
		}
		took = append(took, time.Since(started))
	}
	took = took[extendWarm:]
	slices.Sort(took)
	return latency{took[len(took)/2], took[len(took)*99/100]}, nil
}

// serveBare answers every request alike, once it has read it. Its Addr is where.
func serveBare(x *env.Extender, answer []byte) (*http.Server, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(x.Dir, "tls.crt"), filepath.Join(x.Dir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var in bytes.Buffer // one caller, one call after the other
	server := &http.Server{Addr: listener.Addr().String(), ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		in.Reset()
		_, _ = in.ReadFrom(req.Body) // the caller sees what fails
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	})}
	go func() { _ = server.Serve(listener) }() // until it is closed
	return server, nil
}

// askAbout makes the request of kube-scheduler for a pod.
func askAbout(names []string) ([]byte, error) {
	pod := waiting(newPod("probe"), time.Now().Add(12*time.Hour))
	pod.Annotations[v1alpha1.PolicyAnnotation] = v1alpha1.DefaultPolicy
	body, err := json.Marshal(extenderv1.ExtenderArgs{Pod: pod, NodeNames: &names})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

// knows returns an error unless a third of the nodes have all points, and a third some.
func (c *caller) knows(ctx context.Context, names []string) error {
	body, err := askAbout(names)
	if err != nil {
		return err
	}
	answer, err := c.call(ctx, body)
	if err != nil {
		return err
	}
	var list extenderv1.HostPriorityList
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	best, some := 0, 0
	for _, p := range list {
		switch p.Score {
		case extenderv1.MinExtenderPriority:
		case extenderv1.MaxExtenderPriority:
			best++
		default:
			some++
		}
	}
	if third := len(list) / len(regions); best < third || some < third {
		return fmt.Errorf("of %d nodes %d have all points and %d some, want a third of them each", len(list), best, some)
	}
	return nil
}

func (c *caller) call(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	c.answer.Reset()
	_, err = c.answer.ReadFrom(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", response.Status, &c.answer)
	}
	return c.answer.Bytes(), err
}
