import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const checkout = fileURLToPath(new URL('../../', import.meta.url))

/** A fenced block of a page. */
export interface Block {
  /** What follows the fence: `yaml postern`, `console`. */
  readonly info: string
  readonly text: string
  /** Of the fence, from 1. */
  readonly line: number
  /** Why it is not run: `<!-- untested: why -->` stands in the line before it. */
  readonly untested: string | undefined
}

export interface Page {
  /** From the checkout. */
  readonly path: string
  readonly text: string
  readonly blocks: readonly Block[]
}

/** README.md, deploy/README.md and docs/, decisions aside: the pages whose examples are run. */
export function pages(): Page[] {
  const docs = readdirSync(join(checkout, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('decisions'))
    .map((name) => join('docs', name))
  return ['README.md', 'deploy/README.md', ...docs.sort()].map(readPage)
}

export function readPage(path: string): Page {
  const text = readFileSync(join(checkout, path), 'utf8')
  return { path, text, blocks: blocksOf(text) }
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const info = /^```(\S.*)$/.exec(lines[i]!)?.[1]
    if (info === undefined) continue
    const end = lines.indexOf('```', i + 1)
    if (end < 0) throw new Error(`line ${i + 1}: a block without end`)
    const untested = /^<!-- untested(?: here)?: (.+) -->$/.exec(lines[i - 1] ?? '')?.[1]
    if (untested === undefined && lines[i - 1]?.startsWith('<!-- untested')) throw new Error(`line ${i}: expected <!-- untested: why -->`)
    blocks.push({ info, text: `${lines.slice(i + 1, end).join('\n')}\n`, line: i + 1, untested })
    i = end
  }
  return blocks
}

/** The anchor that a heading gets, as GitHub makes it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

const anchors = (text: string): Set<string> => {
  const plain = text.replace(/^```[\s\S]*?^```/gm, '')
  return new Set([...plain.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => anchorOf(heading!.replace(/`/g, ''))))
}

/** Links of a page to other places in the checkout that lead nowhere. */
export function deadLinks({ path, text }: Page, exists: (file: string) => boolean): string[] {
  const plain = text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')
  const dead: string[] = []
  for (const [, target = ''] of plain.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue
    const [file = '', anchor] = target.split('#')
    const full = file === '' ? join(checkout, path) : join(checkout, dirname(path), file)
    if (!exists(full)) dead.push(`${path}: ${target}`)
    else if (anchor !== undefined && !anchors(readFileSync(full, 'utf8')).has(anchor))
      dead.push(`${path}: ${relative(checkout, full)} has no heading for #${anchor}`)
  }
  return dead
}
