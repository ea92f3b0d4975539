package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// follower brings the forecast of one source into the store. If the ConfigMap of the source does not
// exist, the follower reads the substitute.
type follower struct {
	feed   *Feed
	source forecast.Source
	wanted

	// mu makes sure that nothing of the substitute gets into the store once the source is back.
	mu             sync.Mutex
	stopSubstitute context.CancelFunc // nil while the substitute is not read
}

// recallTimeout bounds how long a forecast waits for the history of its models. The history tells
// whether the forecast can be true.
const recallTimeout = 3 * time.Second

// substitutePause is how long a ConfigMap must be away before its substitute takes the place of what
// is kept. The carbon-intensity exporter deletes and recreates its ConfigMap at each refresh.
const substitutePause = 10 * time.Minute

// follow reads the histories, and then watches the ConfigMap until the context ends.
func (w *follower) follow(ctx context.Context) {
	if w.learns {
		first, cancel := context.WithTimeout(ctx, recallTimeout)
		if all := w.feed.Memory.Recall(first, w.source, w.feed.Clock.Now()); !all || first.Err() != nil {
			go w.recall(ctx)
		}
		cancel()
	}
	watch(ctx, w.feed.Clientset, w.source, !w.learns, watcher{
		exists: func(configMap *corev1.ConfigMap) {
			w.dropSubstitute()
			w.offer(ctx, w.source, configMap)
		},
		isMissing: func(what string) {
			if w.substitute == (forecast.Source{}) {
				what += w.remedy
			}
			w.fail(errors.New(describe(w.source) + " " + what))
			w.readSubstitute(ctx)
		},
		fails: func(err error) { w.fail(fmt.Errorf("cannot watch %s: %w", describe(w.source), err)) },
	})
}

// recall reads the histories once the API server answers.
func (w *follower) recall(ctx context.Context) {
	// The only error is that the context has ended.
	_ = wait.PollUntilContextCancel(ctx, recallRetryPause, true, func(ctx context.Context) (bool, error) {
		all := w.feed.Memory.Recall(ctx, w.source, w.feed.Clock.Now())
		w.notify()
		return all, nil
	})
}

// readSubstitute starts to watch the substitute in the background, after a pause.
func (w *follower) readSubstitute(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.substitute == (forecast.Source{}) || w.stopSubstitute != nil {
		return
	}
	ctx, w.stopSubstitute = context.WithCancel(ctx)
	go func() {
		pause := time.NewTimer(pauseBeforeSubstitute(w.feed.Store.Snapshot(w.source)))
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		unlessBack := func(change func()) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if ctx.Err() == nil {
				change()
			}
		}
		watch(ctx, w.feed.Clientset, w.substitute, false, watcher{
			exists: func(configMap *corev1.ConfigMap) { unlessBack(func() { w.offer(ctx, w.substitute, configMap) }) },
			isMissing: func(string) {
				unlessBack(func() { w.fail(&policy.MissingForecastError{Source: w.source, Remedy: w.remedy}) })
			},
			fails: func(err error) {
				unlessBack(func() {
					w.fail(fmt.Errorf("%s does not exist, and cannot watch %s: %w", describe(w.source), describe(w.substitute), err))
				})
			},
		})
	}()
}

// dropSubstitute stops the watch of the substitute.
func (w *follower) dropSubstitute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopSubstitute != nil {
		w.stopSubstitute()
		w.stopSubstitute = nil
	}
}

// pauseBeforeSubstitute returns how long to wait for a ConfigMap that does not exist. What was
// learned from a foreign exporter would be lost, because the substitute has another origin.
func pauseBeforeSubstitute(kept *forecast.Snapshot) time.Duration {
	for _, location := range kept.Locations() {
		if f, ok := kept.Forecast(location); ok && f.Details.Origin == (forecast.Origin{}) {
			return substitutePause
		}
	}
	return 0
}

// offer gives the store the forecast that a ConfigMap has now. The store keeps what is wrong with the
// forecast, for the status of the policy.
func (w *follower) offer(ctx context.Context, read forecast.Source, configMap *corev1.ConfigMap) {
	now := w.feed.Clock.Now()
	document, err := forecast.FromConfigMap(configMap.BinaryData, configMap.Data, read.Key, history.LastWritten(configMap, now))
	if err == nil {
		if !w.learns {
			document.Actuals, document.Levelled = nil, nil // anybody may name the source, and to learn from weeks takes time
		}
		err = w.feed.Store.Offer(w.source, document, now)
	} else {
		if _, isEmpty := errors.AsType[*forecast.EmptyError](err); !isEmpty { // else the writer says what to do
			err = fmt.Errorf("%s: %w", describe(read), err)
		}
		w.feed.Store.Fail(w.source, err)
	}
	if err != nil {
		log.FromContext(ctx).Info("cannot use a forecast", "source", w.source, "read", read, "why", err.Error())
	}
	w.notify()
}

// fail stores what is wrong with the source. Listeners are notified once, and not at each attempt.
func (w *follower) fail(err error) {
	if before := w.feed.Store.Snapshot(w.source); before.IsKnown() && before.Problem() == err.Error() {
		return
	}
	w.feed.Store.Fail(w.source, err)
	w.notify()
}

// notify tells the listeners that the forecast has changed, and does not wait for them: in a
// replica that does not lead, nobody listens.
func (w *follower) notify() {
	for _, changed := range w.feed.Changed {
		select {
		case changed <- event.TypedGenericEvent[forecast.Source]{Object: w.source}:
		default:
		}
	}
}

// describe names the ConfigMap of a source, for a sentence.
func describe(source forecast.Source) string {
	return "ConfigMap " + source.Namespace + "/" + source.Name
}
