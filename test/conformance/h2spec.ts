import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** One case of h2spec, and how it went. */
export interface Case {
  /** `http2/6.9.1`: the group of cases, and the section of RFC 7540 or 7541 where the group is not `generic`. */
  readonly section: string
  readonly title: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** What was expected, and what came; empty unless failed. */
  readonly detail: string
}

export interface H2specOptions {
  readonly port: number
  /** The path of its requests. */
  readonly path: string
  /** Only these sections; all by default. */
  readonly sections?: readonly string[]
}

/** What names a case, in all runs alike. */
export const nameOf = ({ section, title }: Pick<Case, 'section' | 'title'>): string => `${section}: ${title}`

/** Seconds that a case may wait for what it expects; some servers' failures take all of it. */
const caseSeconds = 1
const runLimitMs = 60_000
const groups = ['generic', 'http2', 'hpack']

/** Runs h2spec against 127.0.0.1 and reads its report. @throws where it made none */
export async function runH2spec(program: string, { port, path, sections = groups }: H2specOptions): Promise<Case[]> {
  const folder = temporaryFolder()
  try {
    const report = folder.file('report.xml')
    const args = [
      '--strict',
      '--port',
      String(port),
      '--path',
      path,
      '--timeout',
      String(caseSeconds),
      '--junit-report',
      report,
      ...sections,
    ]
    const output = await new Promise<string>((done) => {
      // It ends with 1 where a case failed; whether it did its work shows in the report.
      execFile(program, args, { timeout: runLimitMs, maxBuffer: 16 * 1024 * 1024 }, (error, out, err) =>
        done(`${error ?? ''}\n${out}\n${err}`),
      )
    })
    try {
      return parseReport(readFileSync(report, 'latin1'))
    } catch (cause) {
      throw new Error(`h2spec made no report:\n${output.slice(-2000)}`, { cause })
    }
  } finally {
    folder.remove()
  }
}

const casePattern = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g

/** Reads JUnit as h2spec writes it: in `<error>` the alternatives that were expected, and in the last line what came. */
function parseReport(xml: string): Case[] {
  return [...xml.matchAll(casePattern)].map(([, section = '', title = '', inside = '']) => {
    const error = /<(?:error|failure)>([\s\S]*)<\/(?:error|failure)>/.exec(inside)?.[1]
    if (error !== undefined) {
      const lines = plain(error).trim().split('\n')
      const detail = `expected ${lines.slice(0, -1).join(', or ')}; got ${lines.at(-1)}`
      return { section, title: plain(title), outcome: 'failed', detail }
    }
    return { section, title: plain(title), outcome: inside.includes('<skipped') ? 'skipped' : 'passed', detail: '' }
  })
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#34': '"', '#39': "'", '#xA': '\n' }
const plain = (text: string): string => text.replace(/&([^;]+);/g, (whole, name: string) => entities[name] ?? whole)
