package meter

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

// usage has what the counters of pods say: of each pod, by part, by who has scraped the part.
type usage map[string]parts

// parts has the counters of one pod. A part is a zone, or a container in a mode.
type parts map[string]map[string]*reading

// reading is what one counter says. Times are in seconds since 1970.
type reading struct {
	joules, samples, resets, first, last float64
}

// read asks a question, and returns what the counters say.
func (m *Meter) read(ctx context.Context, q question) (usage, error) {
	body, err := m.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	samples, err := decode(body)
	if err != nil {
		return nil, err
	}
	return q.sort(samples), nil
}

// sort sorts the series of an answer by their counters.
func (q question) sort(samples []sample) usage {
	found := usage{}
	for _, s := range samples {
		delete(s.labels, "__name__")
		stat, pod, part := take(s.labels, statLabel), q.podOf(s.labels), q.partOf(s.labels)
		scraper, err := json.Marshal(s.labels) // its keys are sorted
		if err != nil {
			continue
		}
		if found[pod] == nil {
			found[pod] = parts{}
		}
		if found[pod][part] == nil {
			found[pod][part] = map[string]*reading{}
		}
		r := found[pod][part][string(scraper)]
		if r == nil {
			r = &reading{first: math.Inf(1), last: math.Inf(-1)}
			found[pod][part][string(scraper)] = r
		}
		r.add(stat, s.value)
	}
	return found
}

// add adds a figure. A counter has two series, one of the running pod and one of the terminated pod.
func (r *reading) add(stat string, value float64) {
	switch stat {
	case "max":
		r.joules = math.Max(r.joules, value) // NaN stays
	case "samples":
		r.samples += value
	case "resets":
		r.resets += value
	case "first":
		r.first = math.Min(r.first, value)
	case "last":
		r.last = math.Max(r.last, value)
	}
}

// isWhole reports whether a reading can be believed: nothing is missing in it, and it has more than one
// sample. NaN is not believed.
func (r *reading) isWhole() bool {
	return r.joules >= 0 && r.resets == 0 && r.samples >= 2 && r.first <= r.last && !math.IsInf(r.joules+r.first+r.last+r.samples, 0)
}

// ofPod returns the energy of a pod in joules by the counters of Kepler 0.10 and later.
func ofPod(p ledger.PodRun, cpu, gpu parts) (float64, bool) {
	joules, ok := sum(cpu, zonesOf(cpu))
	if !ok || !isCovered(p, cpu) {
		return 0, false
	}
	switch onGPUs, ok := sum(gpu, []string{""}); {
	case ok:
		joules += onGPUs
	case p.HasGPUs || len(gpu) > 0: // most of the energy is not known
		return 0, false
	}
	return joules, isPlausible(p, joules)
}

// zonesOf returns the zones that count. All others overlap with them.
func zonesOf(cpu parts) []string {
	_, hasPsys := cpu["psys"]
	_, hasDRAM := cpu["dram"]
	switch {
	case hasPsys:
		return []string{"psys"}
	case hasDRAM:
		return []string{"package", "dram"}
	default:
		return []string{"package"}
	}
}

// ofContainers returns the energy of a pod in joules by the counters of Kepler 0.9 and before. Nothing
// tells whether these counters have the energy of GPUs.
func ofContainers(p ledger.PodRun, containers parts) (float64, bool) {
	if p.HasGPUs {
		return 0, false
	}
	own := parts{}
	for name, scrapers := range containers {
		for scraper, r := range scrapers {
			if r.last < seconds(p.Start) || r.first > seconds(p.End) {
				continue // of another pod that had the same name
			}
			if own[name] == nil {
				own[name] = map[string]*reading{}
			}
			own[name][scraper] = r
		}
	}
	joules, ok := sum(own, slices.Collect(maps.Keys(own)))
	return joules, ok && isCovered(p, own) && isPlausible(p, joules)
}

// sum returns the sum of some parts, and false if one of them is not known.
func sum(all parts, names []string) (float64, bool) {
	var joules float64
	slices.Sort(names) // equal answers give equal sums
	for _, name := range names {
		part, ok := total(all[name])
		if !ok {
			return 0, false
		}
		joules += part
	}
	return joules, len(names) > 0
}

// total returns the energy of one part. Counters that overlap in time are the same counter, seen
// twice. Counters that follow each other are added.
func total(scrapers map[string]*reading) (float64, bool) {
	var joules, highest float64
	last := math.Inf(-1)
	for _, r := range inOrder(scrapers) {
		if !r.isWhole() {
			return 0, false
		}
		if r.first > last {
			joules, highest = joules+highest, 0
		}
		highest, last = math.Max(highest, r.joules), math.Max(last, r.last)
	}
	return joules + highest, len(scrapers) > 0
}

func inOrder(scrapers map[string]*reading) []*reading {
	var ordered []*reading
	for _, r := range scrapers {
		ordered = append(ordered, r)
	}
	slices.SortFunc(ordered, func(a, b *reading) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.joules, b.joules)) })
	return ordered
}

// isCovered reports whether the counters begin with the pod and end with the pod. What is not covered
// is at most 5 % of the run and two minutes, the longest pause between scrapes that is common.
func isCovered(p ledger.PodRun, all parts) bool {
	first, last := math.Inf(1), math.Inf(-1)
	for _, scrapers := range all {
		for _, r := range scrapers {
			first, last = math.Min(first, r.first), math.Max(last, r.last)
		}
	}
	slack := 120 + 0.05*p.End.Sub(p.Start).Seconds()
	return first <= seconds(p.Start)+slack && last >= seconds(p.End)-slack
}

// isPlausible reports whether a pod can have taken so much energy. A pod that ran has used the CPU, so
// that 0 comes from a node without a meter.
func isPlausible(p ledger.PodRun, joules float64) bool {
	return joules > 0 && joules <= maxWatts*math.Max(1, p.End.Sub(p.Start).Seconds())
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
