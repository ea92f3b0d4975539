// Package exporter asks the providers that CarbonPolicies name, and writes what they say to
// ConfigMaps, from which the controller and other programs read forecasts.
//
//   - An [Exporter] keeps one ConfigMap for each CarbonPolicy with a provider. While the default
//     policy names no provider and nobody else writes a forecast, the exporter finds the zone by the
//     region of the nodes, and asks a provider that needs no key.
//   - Policies with the same provider share what is asked: each zone is asked for once.
//   - On the first run, forecasts are asked for first, and then the past, the newest part first. After
//     a restart or an outage, only what is missing is asked for.
//   - What the provider said last stays until the provider says something else. A failure is
//     written beside the last good values. The same failure again is not written again.
//   - A ConfigMap is updated in place and only if its content changes. So readers see no gap.
//   - Keys come from Secrets in Gridlatch's namespace. No ConfigMap, log or message has a key.
//
// The exporter is the only part of Gridlatch that knows keys and asks the Internet. It may not touch
// pods. See docs/security.md.
package exporter
