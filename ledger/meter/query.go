package meter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

// question is a query about counters, and how its answer is read.
type question struct {
	selector string
	window
	// podOf returns which pod a series is of, and partOf which part of the energy of the pod. Both
	// delete the labels that they read. What is left tells who has scraped the series.
	podOf, partOf func(labels map[string]string) string
}

// podCounters asks for a counter of Kepler 0.10 and later.
func podCounters(name string, pods []ledger.PodRun) question {
	uids := make([]string, len(pods))
	for i, p := range pods {
		uids[i] = p.UID
	}
	return question{
		selector: fmt.Sprintf("%s{pod_id=~%s}", name, oneOf(uids)), window: windowOf(pods),
		podOf: func(labels map[string]string) string {
			uid := labels["pod_id"]
			for _, key := range []string{"pod_id", "pod_name", "pod_namespace", "state"} { // one pod may have two states
				delete(labels, key)
			}
			return uid
		},
		partOf: func(labels map[string]string) string { return take(labels, "zone") },
	}
}

// containerCounters asks for the counters of Kepler 0.9 and before. They have no UID of the pod.
func containerCounters(pods []ledger.PodRun) question {
	names, namespaces := map[string]bool{}, map[string]bool{}
	for _, p := range pods {
		names[p.Name], namespaces[p.Namespace] = true, true
	}
	return question{
		selector: fmt.Sprintf("kepler_container_joules_total{container_namespace=~%s,pod_name=~%s}",
			oneOf(slices.Sorted(maps.Keys(namespaces))), oneOf(slices.Sorted(maps.Keys(names)))),
		window: windowOf(pods),
		podOf: func(labels map[string]string) string {
			return take(labels, "container_namespace") + "/" + take(labels, "pod_name")
		},
		partOf: func(labels map[string]string) string {
			return strings.Join([]string{take(labels, "container_name"), take(labels, "container_id"), take(labels, "mode")}, "\n")
		},
	}
}

// take returns a label, and deletes it.
func take(labels map[string]string, key string) string {
	defer delete(labels, key)
	return labels[key]
}

// window is the time that a query looks at.
type window struct {
	at   time.Time     // the query is evaluated at this time
	over time.Duration // and looks back for so long
	// step is how far apart the moments are at which the query looks for the first and the last
	// sample: a fraction of the shortest run.
	step time.Duration
}

// windowOf returns the window that has all samples of all pods.
func windowOf(pods []ledger.PodRun) window {
	first, last, shortest := pods[0].Start, pods[0].End, pods[0].End.Sub(pods[0].Start)
	for _, p := range pods {
		if p.Start.Before(first) {
			first = p.Start
		}
		if p.End.After(last) {
			last = p.End
		}
		shortest = min(shortest, p.End.Sub(p.Start))
	}
	at := last.Add(Margin)
	return window{at: at, over: at.Sub(first.Add(-Margin)), step: max(time.Second, (shortest / stepsOfRun).Truncate(time.Second))}
}

const (
	// stepsOfRun is how many steps the shortest run of a query has. So a step is less than what need
	// not be covered.
	stepsOfRun = 40
	// maxSteps bounds the steps of a query, and so the work of Prometheus.
	maxSteps = 3000
)

// batches returns the pods of each query. The pods are in the order of their starts. Pods that ran for
// days and pods that ran for seconds are in different queries.
func batches(pods []ledger.PodRun) [][]ledger.PodRun {
	var all [][]ledger.PodRun
	for len(pods) > 0 {
		n := 1
		for n < min(len(pods), maxBatch) {
			if w := windowOf(pods[:n+1]); w.over/w.step > maxSteps {
				break
			}
			n++
		}
		all, pods = append(all, pods[:n]), pods[n:]
	}
	return all
}

// oneOf returns a pattern of PromQL that matches one of several texts.
func oneOf(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = regexp.QuoteMeta(text)
	}
	return strconv.Quote(strings.Join(quoted, "|"))
}

// statLabel tells the figures of a counter apart.
const statLabel = "stat_of_the_counter"

// query returns the question in PromQL. The answer has five series for each counter.
func (q question) query() string {
	over, step := int64(q.over.Seconds()), int64(q.step.Seconds())
	figures := []struct{ stat, expression string }{
		{"max", fmt.Sprintf("max_over_time(%s[%ds])", q.selector, over)},
		{"samples", fmt.Sprintf("count_over_time(%s[%ds])", q.selector, over)},
		{"resets", fmt.Sprintf("resets(%s[%ds])", q.selector, over)},
		{"first", fmt.Sprintf("min_over_time(timestamp(%s)[%ds:%ds])", q.selector, over, step)},
		{"last", fmt.Sprintf("max_over_time(timestamp(%s)[%ds:%ds])", q.selector, over, step)},
	}
	var b strings.Builder
	for i, f := range figures {
		if i > 0 {
			b.WriteString(" or ")
		}
		fmt.Fprintf(&b, "label_replace(%s, %q, %q, %q, %q)", f.expression, statLabel, f.stat, "", "")
	}
	return b.String()
}
