package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// saveEvery is how often what the models were told is saved: what a crash
	// loses is learned again from the forecasts to come.
	saveEvery = 20 * time.Minute
	// recallAgain is how soon a history is looked at again that cannot be used yet.
	recallAgain = 5 * time.Minute
	// readAgain is how soon histories are read again that could not be read.
	readAgain = time.Second
	// saveTimeout bounds the last save, when the program ends.
	saveTimeout = 5 * time.Second
	// historyKept is how long a history is kept that nobody writes any more: the
	// models remember no longer.
	historyKept = 8 * 7 * 24 * time.Hour
)

// Memory keeps what the models have been told over restarts: for each location
// of a source, one ConfigMap of our own. Every replica reads them; the leader
// writes. All exported fields are required.
type Memory struct {
	Clientset kubernetes.Interface
	// Namespace is our own.
	Namespace string
	Store     *forecast.Store
	Clock     policy.Clock

	mu sync.Mutex // never held over a call: readiness waits for it
	// recalled are the sources that have been read and may be written, each but
	// for those of its ConfigMaps, by name, that cannot be used yet.
	recalled map[forecast.Source]map[string]bool
}

// Recall gives the models of a source back what they were told, and reports
// whether that is all. It tries until the API server answers or the context ends.
// A history that cannot be used is logged, and the model learns anew. One that is
// ahead is not written over: Recall is to be called again, and looks at nothing
// else then.
func (m *Memory) Recall(ctx context.Context, source forecast.Source, now time.Time) bool {
	var found *corev1.ConfigMapList
	ended := wait.PollUntilContextCancel(ctx, readAgain, true, func(ctx context.Context) (bool, error) {
		var err error
		found, err = m.configMaps().List(ctx, metav1.ListOptions{LabelSelector: history.SourceLabel + "=" + history.Digest(source.String())})
		if err != nil {
			log.FromContext(ctx).Info("cannot read the histories, trying again", "source", source, "why", err.Error())
		}
		return err == nil, nil
	})
	if ended != nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	waited, again := m.recalled[source]
	waits := map[string]bool{}
	for i := range found.Items {
		c := &found.Items[i]
		if again && !waited[c.Name] {
			continue // the model has learned more since
		}
		_, err := history.RestoreFrom(m.Store, source, found.Items[i:i+1], now)
		if err == nil {
			continue
		}
		fate := "it is written over"
		if errors.Is(err, forecast.ErrFromFuture) {
			waits[c.Name], fate = true, "it is left as it is, and tried again"
		}
		if !again {
			log.FromContext(ctx).Info("a history is not used", "source", source, "why", err.Error(), "so", fate)
		}
	}
	if m.recalled == nil {
		m.recalled = map[forecast.Source]map[string]bool{}
	}
	m.recalled[source] = waits
	return len(waits) == 0
}

// Forget is for a source that the store has forgotten: nothing is written of it
// until it is recalled.
func (m *Memory) Forget(source forecast.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.recalled, source)
}

// Start saves now and then, and once more when the context ends; for a manager,
// on the leader.
func (m *Memory) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		m.save(ctx)
		if err := m.discard(ctx, m.Clock.Now()); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "cannot delete histories that nobody uses, trying again later")
		}
	}, saveEvery)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	m.save(last)
	return nil
}

// save writes what has changed. What fails is written the next time.
func (m *Memory) save(ctx context.Context) {
	for source, waits := range m.known() {
		book := m.Store.Snapshot(source)
		for _, location := range book.Locations() {
			if waits[history.Name(source, location)] {
				continue
			}
			f, ok := book.Forecast(location)
			if !ok || f.Location != location {
				continue // the newest issue does not have it, and others answer for it
			}
			if err := m.write(ctx, source, location, f.Model); err != nil {
				log.FromContext(ctx).Error(err, "cannot save a history, trying again later", "source", source, "location", location)
			}
		}
	}
}

// known returns the sources that may be written, as recalled has them: what is in
// there is replaced, and never changed.
func (m *Memory) known() map[forecast.Source]map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.recalled)
}

// discard deletes the histories that are of no use any more: of a source, or a
// location, that is followed no longer, and not written for as long as models
// remember.
func (m *Memory) discard(ctx context.Context, now time.Time) error {
	found, err := m.configMaps().List(ctx, metav1.ListOptions{LabelSelector: history.SourceLabel})
	if err != nil {
		return fmt.Errorf("list the histories: %w", err)
	}
	known, problems := m.known(), []error(nil)
	for i := range found.Items {
		c := &found.Items[i]
		source, location := forecast.ParseSource(c.Annotations[history.SourceAnnotation]), c.Annotations[v1alpha1.LocationAnnotation]
		_, followed := known[source]
		switch {
		case c.Name != history.Name(source, location): // it is not ours
		case now.Sub(lastWritten(c, now)) <= historyKept:
		case followed && slices.Contains(m.Store.Snapshot(source).Locations(), location):
		default:
			log.FromContext(ctx).Info("deleting a history that nobody uses", "source", source, "location", location)
			asFound := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.UID, ResourceVersion: &c.ResourceVersion}}
			problems = append(problems, client.IgnoreNotFound(m.configMaps().Delete(ctx, c.Name, asFound)))
		}
	}
	return errors.Join(problems...)
}

func (m *Memory) write(ctx context.Context, source forecast.Source, location string, model *forecast.Model) error {
	encoded, err := model.Save()
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	wanted := history.ConfigMap(source, location, encoded)
	held, err := m.configMaps().Get(ctx, wanted.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = m.configMaps().Create(ctx, wanted, metav1.CreateOptions{})
	case err == nil && held.Annotations[history.SourceAnnotation] == source.String() && bytes.Equal(held.BinaryData[history.DataKey], encoded):
		return nil
	case err == nil:
		_, err = m.configMaps().Update(ctx, wanted, metav1.UpdateOptions{})
	}
	return err
}

func (m *Memory) configMaps() corev1client.ConfigMapInterface {
	return m.Clientset.CoreV1().ConfigMaps(m.Namespace)
}
