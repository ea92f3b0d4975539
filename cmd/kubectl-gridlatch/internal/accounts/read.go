package accounts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

// maxSources bounds how many forecasts are read for the groups that are open to revision.
const maxSources = 100

// Ledger is what was read of a ledger, and of the grids that the ledger speaks of.
type Ledger struct {
	Pages []*ledger.Page
	// Written is when the newest page was written; zero if nobody can tell.
	Written time.Time
	// IsPartial says that a page could not be read. A warning says why.
	IsPartial bool
	Warnings  []string

	origins map[string]map[forecast.Origin]bool // by location
	grids   forecast.Store
	// hasOthers says that some pages do not tell all owners or namespaces apart.
	hasOthers bool
}

// NewLedger returns a ledger without pages.
func NewLedger() *Ledger {
	return &Ledger{origins: map[string]map[forecast.Origin]bool{}}
}

// Select returns the names of the pages that a question needs, in order. A day that the page of its
// month has does not count again.
func Select(q Question, listed []pages.Listed) []string {
	merged := map[string]bool{}
	for _, l := range listed {
		for _, day := range l.Days {
			merged[day] = true
		}
	}
	var names []string
	for _, l := range listed {
		if q.covers(l.Name) && !merged[l.Name] {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// AddPage adds the page with a name, from its ConfigMap. A page that cannot be read is left out
// with a warning.
func (l *Ledger) AddPage(name string, c *corev1.ConfigMap, now time.Time) {
	page, err := ledger.Decode(c.BinaryData[pages.DataKey])
	if err == nil && page.Name() != name {
		err = fmt.Errorf("it has page %q", page.Name())
	}
	if err != nil {
		l.IsPartial = true
		l.Warnings = append(l.Warnings, fmt.Sprintf("a part of the ledger is left out: ConfigMap %s: %v", c.Name, err))
		return
	}
	l.Pages = append(l.Pages, page)
	if len(c.ManagedFields) == 0 {
		return // as kubectl get writes it
	}
	if written := history.LastWritten(c, now); written.After(l.Written) {
		l.Written = written
	}
}

// AddOrigin adds where the intensities of a location come from, by the ConfigMap of its history.
func (l *Ledger) AddOrigin(c metav1.Object) {
	var origin forecast.Origin
	annotations := c.GetAnnotations()
	if err := json.Unmarshal([]byte(annotations[history.OriginAnnotation]), &origin); err == nil {
		l.addOrigin(annotations[v1alpha1.LocationAnnotation], origin)
	}
}

func (l *Ledger) addOrigin(location string, origin forecast.Origin) {
	if origin == (forecast.Origin{}) {
		return
	}
	if l.origins[location] == nil {
		l.origins[location] = map[forecast.Origin]bool{}
	}
	l.origins[location][origin] = true
}

// AddForecast adds what a document says of the past. What cannot be true is left out, as in the
// controller. The error says what is left out.
func (l *Ledger) AddForecast(source string, document forecast.Document, now time.Time) error {
	for location, details := range document.Details {
		l.addOrigin(location, details.Origin)
	}
	return l.grids.Offer(forecast.ParseSource(source), document, now)
}

// Actuals returns the actual intensities of a location, empty if nobody knows them.
func (l *Ledger) Actuals(source, location string) *forecast.Series {
	found, _ := l.grids.Snapshot(forecast.ParseSource(source)).Forecast(location)
	return found.Actuals
}

// OpenSource is a forecast of groups that are open to revision, and the policy of one of them.
type OpenSource struct{ Source, Policy string }

// OpenSources returns the forecasts of the groups that are open to revision.
func (l *Ledger) OpenSources() []OpenSource {
	found := map[string]OpenSource{}
	for _, page := range l.Pages {
		for _, group := range page.Groups() {
			if _, ok := found[group.Source]; !ok {
				found[group.Source] = OpenSource{group.Source, group.Policy}
			}
		}
	}
	sources := slices.SortedFunc(maps.Values(found), func(a, b OpenSource) int { return cmp.Compare(a.Source, b.Source) })
	if len(sources) > maxSources {
		l.Warnings = append(l.Warnings, fmt.Sprintf("the groups of the last three days have %d forecasts: only %d of them are read", len(sources), maxSources))
		sources = sources[:maxSources]
	}
	return sources
}

// MissForecast notes that the past of a forecast cannot be read.
func (l *Ledger) MissForecast(source string, err error) {
	l.Warnings = append(l.Warnings, fmt.Sprintf("the actual intensities of %s cannot be read, which groups of the last three days need: %v", cmp.Or(source, "a forecast without a name"), err))
}

// signals returns the origins of the locations that sums have, sorted.
func (l *Ledger) signals(all sums) []Signal {
	locations := map[string]bool{}
	for _, sum := range all {
		locations[sum.Location] = true
	}
	signals := []Signal{}
	for _, location := range slices.Sorted(maps.Keys(locations)) {
		origins := slices.SortedFunc(maps.Keys(l.origins[location]), func(a, b forecast.Origin) int { return cmp.Compare(a.String(), b.String()) })
		if len(origins) == 0 {
			origins = []forecast.Origin{{}}
		}
		for _, origin := range origins {
			signals = append(signals, Signal{location, origin})
		}
	}
	return signals
}

// open counts the groups of a question that are open to revision.
func (l *Ledger) open(q Question) (groups int) {
	for _, page := range l.Pages {
		for _, group := range page.Groups() {
			if q.Namespace == "" || group.Namespace == q.Namespace {
				groups++
			}
		}
	}
	return groups
}
