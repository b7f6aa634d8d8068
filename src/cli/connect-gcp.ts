import { resolve } from 'node:path'
import type { Command } from 'commander'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'
import { writePrivate } from './private-file.ts'

/** What a credential file is made of. */
export interface GcpOptions {
  /** Of the project that the pool is in; digits. */
  readonly projectNumber: string
  readonly pool: string
  readonly provider: string
  /** The service account that is acted as; absent: the pool's own principal is. */
  readonly serviceAccount?: string | undefined
  /** Where a token of ours is kept fresh. */
  readonly tokenFile: string
  /** The file is JSON, and the token this member of it; absent: the file is the token. */
  readonly tokenField?: string | undefined
}

/** Ids of pools and providers: 4 to 32 characters; those that begin with `gcp-` are Google's. */
const poolId = /^(?!gcp-)[a-z0-9-]{4,32}$/
const email = /^[a-z0-9._-]+@[a-z0-9.-]+\.gserviceaccount\.com$/

/** The provider's full name, which our tokens have for `aud` unless the provider says otherwise. */
export const gcpAudience = ({ projectNumber, pool, provider }: Pick<GcpOptions, 'projectNumber' | 'pool' | 'provider'>): string =>
  `//iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${pool}/providers/${provider}`

/** Sentences for options that Google would not take. */
export function gcpFaults({ projectNumber, pool, provider, serviceAccount }: GcpOptions): string[] {
  const faults: string[] = []
  if (!/^[1-9]\d{0,19}$/.test(projectNumber))
    faults.push(`--project-number ${projectNumber}: expected the number of the project, not its id`)
  for (const [name, id] of [
    ['--pool', pool],
    ['--provider', provider],
  ] as const)
    if (!poolId.test(id)) faults.push(`${name} ${id}: expected 4 to 32 lower-case letters, digits and "-", not beginning with gcp-`)
  if (serviceAccount !== undefined && !email.test(serviceAccount))
    faults.push(`--service-account ${serviceAccount}: expected its address, such as runner@PROJECT.iam.gserviceaccount.com`)
  return faults
}

/** The credential file of workload identity federation (google.aip.dev/auth/4117), which Google's client libraries read. It holds no secret. */
export function gcpCredentials(options: GcpOptions): Readonly<Record<string, unknown>> {
  const { serviceAccount, tokenFile, tokenField } = options
  return {
    universe_domain: 'googleapis.com',
    type: 'external_account',
    audience: gcpAudience(options),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: 'https://sts.googleapis.com/v1/token',
    token_info_url: 'https://sts.googleapis.com/v1/introspect',
    ...(serviceAccount !== undefined && {
      service_account_impersonation_url: `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${serviceAccount}:generateAccessToken`,
    }),
    credential_source: {
      file: tokenFile,
      format: tokenField === undefined ? { type: 'text' } : { type: 'json', subject_token_field_name: tokenField },
    },
  }
}

/** `postern connect gcp`. */
export function connectGcp(connect: Command, io: Io): void {
  const gcp = connect
    .command('gcp')
    .description("write the credential file by which Google's client libraries swap tokens of this issuer for Google's")
    .requiredOption('--project-number <number>', 'of the project that the workload identity pool is in')
    .requiredOption('--pool <id>', 'the workload identity pool')
    .requiredOption('--provider <id>', 'its OIDC provider, which trusts this issuer')
    .option('--service-account <email>', 'the service account to act as; else the principal of the pool itself')
    .requiredOption('--token-file <file>', 'where a token of this issuer is kept fresh')
    .option('--token-field <name>', 'the token is this member of the file, which is JSON (access_token, for an answer of /token)')
    .requiredOption('--out <file>', 'the credential file to write (mode 0600)')
    .option('--force', 'write over a file that is there')
  withCommon(gcp, io).action((options: CommonOptions & GcpOptions & { out: string; force?: boolean }) => {
    const faults = gcpFaults(options)
    if (faults.length > 0) throw new CommandFailed(2, ...faults)
    // The libraries would take a relative one from wherever they run.
    const credentials = gcpCredentials({ ...options, tokenFile: resolve(options.tokenFile) })
    writePrivate(options.out, `${JSON.stringify(credentials, undefined, 2)}\n`, options.force ?? false)
    const audience = gcpAudience(options)
    if (options.json) printJson(io, { file: options.out, audience, credentials })
    else
      io.out(
        `wrote ${options.out}: point GOOGLE_APPLICATION_CREDENTIALS at it\ntokens in ${resolve(options.tokenFile)} need the audience ${audience}\n`,
      )
  })
}
