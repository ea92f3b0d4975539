// Package meter asks a Prometheus how much energy pods took, as Kepler has measured.
//
// Kepler (github.com/sustainable-computing-io/kepler) shares what the meters of a node say among its
// pods, and Prometheus keeps the counters. The names of the counters differ by the version of Kepler:
//
//	0.10 and later  kepler_pod_cpu_joules_total by pod_id and zone, kepler_pod_gpu_joules_total by pod_id
//	0.9 and before  kepler_container_joules_total by container_namespace, pod_name, container and mode
//
// What is easy to get wrong, and how the package deals with it:
//
//   - Zones overlap: psys has package, and package has core. One zone counts: psys, or else package
//     together with dram.
//   - The increase of a counter over the life of a pod loses the first sample. A counter starts at 0
//     with its pod, so its highest value counts.
//   - A counter that goes down has started anew, and its highest value is not the whole. Such a pod
//     is not measured. If Kepler was replaced while the pod ran, two counters follow each other, and
//     their sum counts. If two Prometheus servers have seen the same counter, it counts once.
//   - A pod whose counters begin long after the pod, or end long before, is not measured.
//   - A pod that ran for less than two scrapes is not measured.
//
// An answer that is missing is no error: most virtual machines have no meters.
package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// Margin is how long after the end of a pod its last samples come at the latest. Who asks earlier
	// may find that a pod is not measured, although it will be.
	Margin = 5 * time.Minute
	// maxBatch bounds the pods of one query.
	maxBatch = 100
	// maxRun bounds how long a pod has run that is asked for.
	maxRun = 366 * 24 * time.Hour
	// maxWatts bounds what is believed of one pod.
	maxWatts = 1e7
	// maxName bounds the UID, the namespace and the name of a pod.
	maxName = 253
)

// Meter asks a Prometheus. It is safe for concurrent use.
type Meter struct {
	client *http.Client
	url    string
}

// New returns a meter that asks the Prometheus at an address, such as
// http://prometheus.monitoring:9090. New connects to nobody.
func New(address string) (*Meter, error) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, errors.New("want an address with http or https, without user, query or fragment, such as http://prometheus.monitoring:9090")
	}
	return &Meter{client: newClient(), url: at.JoinPath("api/v1/query").String()}, nil
}

// Joules returns the measured energy of pods in joules, by their UIDs. A pod that Kepler has not
// measured is missing. The energy is what the computer took: the caller multiplies by the power usage
// effectiveness of the data centre, as for energy that is modelled. With an error, the pods that are
// there are known all the same, and nothing is known of the others.
func (m *Meter) Joules(ctx context.Context, pods []ledger.PodRun) (map[string]float64, error) {
	measured := map[string]float64{}
	var tooLarge error
	for _, batch := range batches(askable(pods)) {
		switch err := m.measureInParts(ctx, batch, measured); {
		case errors.Is(err, errTooLarge):
			tooLarge = err
		case err != nil:
			return measured, fmt.Errorf("ask Prometheus for measured energy: %w", err)
		}
	}
	if tooLarge != nil {
		return measured, fmt.Errorf("ask Prometheus for measured energy: %w", tooLarge)
	}
	return measured, nil
}

// measureInParts measures a batch, and halves the batch if the answer is too large. So a pod whose
// containers crash so often that they have very many series keeps no other pod from being measured.
func (m *Meter) measureInParts(ctx context.Context, batch []ledger.PodRun, measured map[string]float64) error {
	err := m.measure(ctx, batch, measured)
	half := len(batch) / 2
	if half == 0 || !errors.Is(err, errTooLarge) {
		return err
	}
	err = m.measureInParts(ctx, batch[:half], measured)
	if err != nil && !errors.Is(err, errTooLarge) {
		return err
	}
	if second := m.measureInParts(ctx, batch[half:], measured); second != nil {
		return second
	}
	return err
}

// askable returns the pods that can be asked for, ordered by their starts so that a batch spans little
// time.
func askable(pods []ledger.PodRun) []ledger.PodRun {
	var kept []ledger.PodRun
	for _, p := range pods {
		run := p.End.Sub(p.Start)
		if !p.Start.IsZero() && run > 0 && run <= maxRun && isName(p.UID) && isName(p.Namespace) && isName(p.Name) {
			kept = append(kept, p)
		}
	}
	slices.SortStableFunc(kept, func(a, b ledger.PodRun) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.UID, b.UID)) })
	return slices.CompactFunc(kept, func(a, b ledger.PodRun) bool { return a.UID == b.UID })
}

// isName reports whether a text can be a UID or a name of Kubernetes. Nothing else becomes a part of a
// query.
func isName(text string) bool {
	return text != "" && len(text) <= maxName && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// measure adds the energy of the pods of a batch to measured.
func (m *Meter) measure(ctx context.Context, batch []ledger.PodRun, measured map[string]float64) error {
	cpu, err := m.read(ctx, podCounters("kepler_pod_cpu_joules_total", batch))
	if err != nil {
		return err
	}
	var gpu usage
	if len(cpu) > 0 {
		if gpu, err = m.read(ctx, podCounters("kepler_pod_gpu_joules_total", batch)); err != nil {
			return err
		}
	}
	var rest []ledger.PodRun
	for _, p := range batch {
		if _, known := cpu[p.UID]; !known {
			rest = append(rest, p)
		} else if joules, ok := ofPod(p, cpu[p.UID], gpu[p.UID]); ok {
			measured[p.UID] = joules
		}
	}
	if len(rest) == 0 {
		return nil
	}
	old, err := m.read(ctx, containerCounters(rest))
	if err != nil {
		return err
	}
	for _, p := range rest {
		if joules, ok := ofContainers(p, old[p.Namespace+"/"+p.Name]); ok {
			measured[p.UID] = joules
		}
	}
	return nil
}
