import assert from 'node:assert/strict'
import { faults, load, policyFiles } from '../../config/policy-files.ts'
import { policyWith } from '../../federation/rig.ts'

const identity = [
  { name: 'ours', type: 'postern', audience: 'postern', subject_namespace: 'own:' },
  { name: 'staff', type: 'oidc', issuer: 'https://staff.example', audience: ['app'], subject_namespace: 'staff:' },
]
const rule = (subject: string) => ({ name: 'ci', issuer: 'https://ci.example', audience: 'sts', subject })
const file = (subject: string) => policyFiles({ 'postern.yaml': policyWith([rule(subject)], { identity }) })

describe('a rule whose subjects could be those of others is no rule', () => {
  for (const subject of ['operator:{sub}', 'own:{sub}', 'staff:{sub}', 'spiffe://agents.local/agent/{sub}'])
    it(subject, async () => {
      const [fault, ...others] = await faults(await file(subject))
      assert.match(fault ?? '', /issuer\.federation\[0\]\.subject: these could be /)
      assert.deepEqual(others, [])
    })

  it('any other is', async () => {
    for (const subject of ['ci:{sub}', '{sub}', 'staff-{sub}', 'spiffe://agents.local/ns/{sub}']) await load(await file(subject))
  })
})
