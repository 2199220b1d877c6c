// Package report collects what scenarios measure, takes medians over the runs, and writes tables in Markdown and plots in SVG.
package report
