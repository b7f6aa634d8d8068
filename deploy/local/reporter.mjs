/**
 * The reporter of `npm test`: one line a file, each failing test in full, and the totals as JSON in the file that
 * $POSTERN_TEST_TOTALS names, so that several mocha processes can be added up.
 */
import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import mocha from 'mocha'

const { EVENT_TEST_PASS, EVENT_TEST_FAIL, EVENT_TEST_PENDING, EVENT_RUN_END } = mocha.Runner.constants

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Totals
 * @typedef {Totals & { ms: number }} FileTotals
 */

export default class TotalsReporter extends mocha.reporters.Base {
  /**
   * @param {import('mocha').Runner} runner
   * @param {import('mocha').MochaOptions} options
   */
  constructor(runner, options) {
    super(runner, options)
    const target = process.env.POSTERN_TEST_TOTALS
    /** @type {Totals} */
    const totals = { passed: 0, failed: 0, skipped: 0 }
    /** @type {Map<string, FileTotals>} */
    const files = new Map()
    /** @param {import('mocha').Runnable} test @param {keyof Totals} outcome */
    const count = (test, outcome) => {
      const file = fileOf(test)
      const own = files.get(file) ?? { passed: 0, failed: 0, skipped: 0, ms: 0 }
      own[outcome] += 1
      own.ms += test.duration ?? 0
      totals[outcome] += 1
      files.set(file, own)
      // Written after each test: a run that is stopped at its limit still says how far it came.
      if (target) writeFileSync(target, JSON.stringify(totals))
    }
    /** @type {string | undefined} */
    let current
    /** @param {string | undefined} next */
    const close = (next) => {
      const own = current === undefined ? undefined : files.get(current)
      if (own && current !== next) process.stdout.write(`  ${own.failed > 0 ? '✗' : '✓'} ${current}  ${words(own)}  ${own.ms} ms\n`)
      current = next
    }
    /** @param {import('mocha').Runnable} test @param {keyof Totals} outcome */
    const seen = (test, outcome) => {
      if (fileOf(test) !== current) close(fileOf(test))
      count(test, outcome)
    }
    runner.on(EVENT_TEST_PASS, (test) => seen(test, 'passed'))
    runner.on(EVENT_TEST_PENDING, (test) => seen(test, 'skipped'))
    runner.on(EVENT_TEST_FAIL, (test, error) => {
      seen(test, 'failed')
      process.stdout.write(`  ✗ ${test.fullTitle()}\n${indent(describe(error))}\n`)
    })
    runner.once(EVENT_RUN_END, () => {
      close(undefined)
      if (target) writeFileSync(target, JSON.stringify({ ...totals, ended: true }))
    })
  }
}

/** @param {import('mocha').Runnable} test a test, or a hook, which carries its suite's file */
function fileOf(test) {
  const file = test.file ?? test.parent?.file
  return file ? relative(process.cwd(), file) : '(no file)'
}

/** @param {Totals} totals */
function words(totals) {
  return [`${totals.passed} passed`, totals.failed > 0 && `${totals.failed} failed`, totals.skipped > 0 && `${totals.skipped} skipped`]
    .filter(Boolean)
    .join(', ')
}

/** @param {unknown} error @returns {string} */
function describe(error) {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by: ${describe(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}

/** @param {string} text */
function indent(text) {
  return text.replaceAll(/^/gm, '      ')
}
