import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type EnvoyLint, lintEnvoy } from '../../../src/config/envoy/lint.ts'
import { type PolicyFacts, policyFacts } from '../../../src/config/envoy/policy-facts.ts'
import { readPolicy } from '../../../src/config/read.ts'

/** Folders of test/config/envoy/fixtures. */
export type Folder = 'bootstrap' | 'config-dump' | 'gateway' | 'good' | 'istio' | 'policy' | 'refused'

/** A file under test/config/envoy/fixtures. */
export interface Fixture {
  readonly name: string
  readonly file: string
  readonly text: string
}

/** Where a fixture is. @param path under test/config/envoy/fixtures */
export const fixturePath = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))

/** All fixtures of a folder. */
export const fixturesIn = (folder: Folder): Fixture[] =>
  readdirSync(fixturePath(folder)).map((name) => ({
    name: name.replace(/\.\w+$/, '').replaceAll('-', ' '),
    file: name,
    text: readFileSync(fixturePath(`${folder}/${name}`), 'utf8'),
  }))

/** What a fixture says of itself: lines that end in `# ! severity code`. */
export const expected = (text: string): string[] =>
  text.split('\n').flatMap((line, i) => {
    const mark = /# ! (error|warning|note) ([a-z0-9-]+)$/.exec(line)
    return mark ? [`${i + 1}: ${mark[1]} ${mark[2]}`] : []
  })

/** What the linter finds, in the same words. */
export const found = ({ findings }: EnvoyLint): string[] => findings.map(({ line, severity, code }) => `${line}: ${severity} ${code}`)

/** Lints one text. */
export const lintText = (text: string, policy?: PolicyFacts, file = 'envoy.yaml'): EnvoyLint => lintEnvoy([{ file, text }], policy)

/** What a policy of the fixtures demands. */
export async function factsOf(path: string): Promise<PolicyFacts> {
  const read = await readPolicy({ file: fixturePath(path), env: {} })
  if (!read.ok) throw new Error(JSON.stringify(read.faults))
  return policyFacts(read.loaded)
}
